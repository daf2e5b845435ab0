"""A served box with an empty share, and windows in which its doctor is signed in."""

from playwright.sync_api import Browser, Page

from tests.support.upload_server import UploadServer

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


class UploadSite(UploadServer):
    """The server, and a browser's way to it."""

    def window(self, browser: Browser, **more: object) -> Page:
        """Return a window in which the doctor is signed in."""
        context = browser.new_context(
            ignore_https_errors=True, locale="fr-FR", base_url=self.address, **more
        )
        context.add_cookies(
            [
                {
                    "name": "__Host-sid",
                    "value": self.token,
                    "url": self.address,
                    "secure": True,
                    "httpOnly": True,
                }
            ]
        )
        return context.new_page()
