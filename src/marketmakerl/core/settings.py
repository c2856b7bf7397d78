"""Settings from the environment and `.env`: MML_ARTIFACTS_DIR, MML_DATA_DIR, MML_LOG_LEVEL, ... and PAPER_ONLY."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from marketmakerl.core.errors import ConfigError


class Settings(BaseSettings):
    """What the environment decides; a command-line option of the same name wins over it.

    No field holds a key or a secret, and none is read: this program has no use for one.
    """

    model_config = SettingsConfigDict(env_prefix="MML_", env_file=".env", extra="ignore", frozen=True)

    artifacts_dir: Path = Field(Path("artifacts"), description="where results are written")
    data_dir: Path = Field(Path("data"), description="where the local catalog looks for data when DATA is not given")
    instruments_file: Path | None = Field(None, description="JSON list of instruments that wins over the shipped table")
    fees_file: Path | None = Field(None, description="JSON list of fee rows that wins over the shipped table")
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    # Kept as text: only the policy in core/safety decides what it means, and everything but its one word is "paper".
    paper_only: str = Field("1", validation_alias=AliasChoices("PAPER_ONLY", "paper_only"))

    @property
    def instruments_home(self) -> Path:
        """Return the file that `mml data instruments --refresh` writes."""
        return self.instruments_file or self.data_dir / "instruments.json"

    @property
    def instruments_overrides(self) -> Path | None:
        """Return the file that wins over the shipped table: the one named, else a refreshed one, if there is any."""
        home = self.instruments_home
        return home if self.instruments_file or home.is_file() else None


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigError: a variable has a value it cannot have; the line names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"setting {name}: {first['msg']}, got {first['input']!r} (environment or .env)") from error
