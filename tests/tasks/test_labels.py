"""Tables of labels: what is tolerated is read, and every mistake is one line that names it."""

from __future__ import annotations

import pytest

from bitwright.problems.errors import InputError
from bitwright.tasks.labels import LabelledFile, read_labels

EXPECTED = [LabelledFile("a/1.png", "a", "train"), LabelledFile("b/2.png", "b", "val")]


@pytest.fixture
def table(tmp_path):
    def write(text: str, encoding: str = "utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "file,class,split\na/1.png,a,train\nb/2.png,b,val\n",
        "split,class,file\ntrain,a,a/1.png\nval,b,b/2.png\n",
        "file,class_id,class,split,note\na/1.png,0,a,train,\nb/2.png,1,b,val,x\n",
        "file,class,split\r\na/1.png,a,train\r\n\r\nb/2.png,b,val",
        'file, class, split\n./a/1.png, a, train\n"b/2.png","b","val"\n',
    ],
    ids=["plain", "shuffled", "extra columns", "blank line", "spaces and quotes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tolerated_tables(table, text, encoding):
    """Columns in any order, extra ones, a byte order mark, blank lines and spaces do not matter."""
    assert read_labels(table(text, encoding)) == EXPECTED


def test_split_is_optional(table):
    """Without a split column, no file has a split."""
    (labelled,) = read_labels(table("class,file\na,1.png\n"))
    assert labelled == LabelledFile("1.png", "a", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels '.*' are empty"),
        ("file,class\n", r"labels '.*' hold no rows below the header"),
        ("file,clas\n1,a\n", r"has no column 'class'; did you mean 'clas'\? Known: 'clas', 'file'"),
        ("path,class\n1,a\n", "has no column 'file'; known: 'class', 'path'"),
        ("file,class,splt\n1,a,val\n", "has a column 'splt'; did you mean 'split'"),
        ("file,class,class\n1,a,b\n", "has the column 'class' twice"),
        ("file,class\n1,a\n2\n", "line 3: 2 fields are expected, got 1"),
        ("file,class\n1,a,b\n", "line 2: 2 fields are expected, got 3"),
        ("file,class\n1,a\n,b\n", "line 3: 'file' must not be empty"),
        ("file,class\n1,\n", "line 2: 'class' must not be empty"),
        ("file,class,split\n1,a,tran\n", "line 2: split 'tran' is unknown; did you mean 'train'"),
        ("file,class,split\n1,a,\n", "line 2: split '' is unknown; known: 'test', 'train', 'val'"),
        ("file,class\n1,a\n2,b\n./1,a\n", "line 4: file '1' is already on line 2"),
    ],
)
def test_mistakes(table, text, message):
    """File, line, rule and value are named, with the nearest valid name where there is one."""
    with pytest.raises(InputError, match=message) as caught:
        read_labels(table(text))
    assert "\n" not in str(caught.value)


def test_unreadable_tables(table, tmp_path):
    """A missing file and one in another encoding are input errors too."""
    with pytest.raises(InputError, match=r"labels '.*none.csv' cannot be read"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"labels '.*' cannot be read: 'utf-8' codec"):
        read_labels(table("file,class\nä,b\n", "latin-1"))
