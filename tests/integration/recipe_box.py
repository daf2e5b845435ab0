"""A box with one pulled machine behind a real sshd: what the tests of recipes begin with."""

from appliance.backup_jobs import ssh
from appliance.backup_jobs.recipes import Prepared, load_recipes, prepare, secret_name
from appliance.clock import utc_now
from appliance.db import secrets, sources
from appliance.jobs import queue
from appliance.jobs.context import JobContext
from appliance.jobs.kinds import TakeSnapshot
from appliance.model import RecipeUse, SourceKind, System
from appliance.vault.seal import seal
from appliance.vault.secret import Secret


class RecipeBox:
    """``prepare`` ready to be called; the machine is the test's own sshd."""

    def __init__(self, settings, database, sshd, *, system=System.LINUX, roots=("/etc",)) -> None:
        self.settings, self.database = settings, database
        key, public = ssh.make_key()
        sshd.authorize(public)
        self.endpoint = ssh.Endpoint(sshd.host, sshd.port, sshd.user, sshd.host_key, key)
        with database.write() as connection:
            source = sources.add(
                connection, name="serveur", label="Serveur", kind=SourceKind.PULLED, roots=roots,
                now=utc_now(), host=sshd.host, port=sshd.port, user=sshd.user, system=system,
            )  # fmt: skip
            self.source_id = source.id
            spec = TakeSnapshot(source.id)
            job = queue.get(connection, queue.enqueue(connection, spec, now=utc_now()))
        self.context = JobContext(settings, database, job)

    def use(self, name, secret=None, **values):
        """Apply a recipe to the machine."""
        use = RecipeUse(name, values)
        with self.database.write() as connection:
            source = sources.get(connection, self.source_id)
            sources.change(connection, self.source_id, recipes=(*source.recipes, use))
            if secret is not None:
                sealed = seal(Secret(secret), self.settings.keys)
                name = secret_name(source, use)
                secrets.put_sealed(connection, name, sealed, now=utc_now())
        return self

    @property
    def source(self):
        with self.database.read() as connection:
            return sources.get(connection, self.source_id)

    @property
    def facts(self):
        with self.database.read() as connection:
            return sources.facts(connection, self.source_id)

    def notes(self):
        with self.database.read() as connection:
            return [row[0] for row in connection.exec_driver_sql("SELECT text FROM job_note")]

    def prepare(self):
        return prepare(self.source, self.endpoint, load_recipes(self.settings), self.context)

    def dumps(self) -> dict[bytes, bytes]:
        """Every stream, read to its end."""
        with self.prepare() as prepared:
            return read(prepared)


def read(prepared: Prepared) -> dict[bytes, bytes]:
    return {stream.path: b"".join(stream.open()) for stream in prepared.streams}
