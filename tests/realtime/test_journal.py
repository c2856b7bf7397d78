import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmakerl.core.errors import ArtifactError, DataFormatError, DataNotFoundError
from marketmakerl.realtime.journal import Journal, read_journal


def written(path, n=5):
    with Journal(path) as journal:
        for i in range(n):
            journal.write("event", 1000 + i, value=i, text="a\nb")
    return path


def test_what_was_written_is_read_back(tmp_path):
    lines = read_journal(written(tmp_path / "x" / "s.jsonl"))
    assert [(line["seq"], line["ts_ns"], line["value"]) for line in lines] == [(i, 1000 + i, i) for i in range(5)]
    assert lines[0]["prev"] == ""
    assert len({line["prev"] for line in lines}) == 5


@given(at=st.floats(0, 0.9999), flip=st.integers(1, 255))
def test_a_changed_byte_shows(tmp_path_factory, at, flip):
    path = written(tmp_path_factory.mktemp("j") / "s.jsonl")
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= flip
    path.write_bytes(content)
    with pytest.raises(DataFormatError):
        read_journal(path)


def test_a_line_left_out_or_cut_short_shows(tmp_path):
    path = written(tmp_path / "s.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(DataFormatError, match="line 3 is not chained"):
        read_journal(path)
    path.write_bytes(b"".join(lines)[:-7])
    with pytest.raises(DataFormatError, match="line 5"):
        read_journal(path)


def test_a_journal_is_never_overwritten(tmp_path):
    path = written(tmp_path / "s.jsonl")
    with pytest.raises(ArtifactError, match="cannot write the journal"):
        Journal(path)
    with pytest.raises(DataNotFoundError):
        read_journal(tmp_path / "none.jsonl")


def test_a_full_disk_leaves_whole_lines(tmp_path):
    import subprocess

    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user cannot mount a small file system")
    try:
        with pytest.raises(ArtifactError, match="No space left"):
            written(mount / "s.jsonl", 1000)
        lines = read_journal(mount / "s.jsonl")
        assert 5 < len(lines) < 100
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
