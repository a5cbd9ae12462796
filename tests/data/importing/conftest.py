from pathlib import Path

import pytest
from authors_data import copy_of, write_authors_data


@pytest.fixture(scope="session")
def authors_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data in the authors' form; not to be changed."""
    folder = tmp_path_factory.mktemp("authors") / "training_data"
    write_authors_data(folder)
    return folder


@pytest.fixture
def authors_folder(authors_original: Path, tmp_path: Path) -> Path:
    """The same, to be changed at will."""
    return copy_of(authors_original, tmp_path / "training_data")
