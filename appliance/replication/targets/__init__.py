"""Where copies go: a disk, an SFTP host, an S3 host, another box. One protocol, one contract."""
