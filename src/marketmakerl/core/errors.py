"""Every error that MarketMakerL raises on purpose, and the exit code each one ends a command with.

    MarketMakerLError                   1  internal error (a bug: please report it)
    ├── ConfigError                     2  bad usage or configuration
    │   ├── UnknownNameError            2  an exchange, symbol or model nobody knows (did you mean ...?)
    │   ├── ModelError                  2  a quoting model of one's own raised an exception while it was asked
    │   └── ArtifactError               2  artifacts cannot be written: permission, disk full, not a folder
    ├── GateFailedError                 3  a validation gate said no
    ├── LiveTradingBlocked              4  safety policy: this program never places a real order
    └── DataError                       5  data missing, invalid, or exchange unreachable
        ├── DataNotFoundError           5  no such file, or the catalog holds no such series
        ├── DataFormatError             5  unreadable file, missing column, wrong type, broken checksum
        └── DataQualityError            5  readable but wrong: NaN, zero price, time running backwards (.findings)

Bad input raises at the edge it enters by; inside, only assertions are left. A message is one line that names what
was wrong, where, and how to mend it. The command line prints it to stderr and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class MarketMakerLError(Exception):
    """Base of every deliberate error. `exit_code` is what a command ends with when it escapes."""

    exit_code: ClassVar[int] = 1


class ConfigError(MarketMakerLError):
    """A setting, option or argument that cannot be used as given."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that is not in the list it should come from; carries the closest known names."""

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.what = what
        self.hint = hint
        self.name = name
        self.known = sorted(known)
        close = difflib.get_close_matches(name, self.known, n=3, cutoff=0.6)
        guess = f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(self.known)}"
        super().__init__(f"unknown {what} {name!r}{guess}{' ' + hint if hint else ''}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Make it anew of what it was made of: pickle would give `__init__` the message alone."""
        return type(self), (self.what, self.name, self.known, self.hint), self.__dict__


class ModelError(ConfigError, ValueError):
    """A quoting model of one's own raised an exception: which, what it raised, and when it was asked."""


class ArtifactError(ConfigError):
    """The artifacts folder does not take the files: not writable, not a folder, or the disk is full."""


class GateFailedError(MarketMakerLError):
    """A validation gate was asked and answered no. This is the product working."""

    exit_code = 3


class LiveTradingBlocked(MarketMakerLError):  # noqa: N818  (the contract's name; it is a refusal, not a fault)
    """Anything that could touch a private endpoint or place an order ends here."""

    exit_code = 4


class DataError(MarketMakerLError):
    """Market data that is missing, unreadable or wrong."""

    exit_code = 5


class DataNotFoundError(DataError):
    """The file or series does not exist where it was looked for."""


class DataFormatError(DataError):
    """A file that cannot be read as what it should be."""


class ExchangeUnreachableError(DataError):
    """The exchange did not answer, or answered that it serves nobody from here or now."""


class DataQualityError(DataError):
    """Data that reads well and is wrong.

    Attributes:
        findings: every finding that made the data unusable (see `marketmakerl.data.quality.Finding`).
    """

    def __init__(self, message: str, findings: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)
