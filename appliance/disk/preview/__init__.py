"""Previews: a process that may do nothing but compute turns a file into a picture or a text."""
