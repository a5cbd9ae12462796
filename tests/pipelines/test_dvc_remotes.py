"""Versions of data: `git checkout` and `dvc checkout` bring them back, remotes hand them to others."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from checkouts import ROOT, Checkout, small_params

from hdnet.data.layout.folders import TangFolder
from hdnet.synthetic import SyntheticSpec, synthesize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DATA = ("own_data/dances", "data/raw", "data/packed", "data/correspondences")
# All that concerns data; a stage that never ran would make `dvc pull` of everything fail.
STAGES = ("acquire", "validate", "pack", "correspond")
# No answer may depend on the settings or the network of the machine that runs the tests.
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@dataclasses.dataclass(frozen=True)
class Origin:
    """A checkout with two committed versions of data, ``v1`` and ``v2``, of which the second one is there."""

    checkout: Checkout
    versions: dict[str, str]
    ran: dict[str, list[str]]


def digest(checkout: Checkout, folders: tuple[str, ...] = DATA) -> str:
    """Hash of the names and bytes of all data."""
    found = hashlib.sha256()
    for folder in folders:
        files = sorted(file for file in (checkout.folder / folder).rglob("*") if file.is_file())
        assert files, folder
        for file in files:
            found.update(f"{file.relative_to(checkout.folder)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def run_pipeline(checkout: Checkout) -> list[str]:
    done = checkout.dvc("repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return checkout.ran(done)


def would_run(checkout: Checkout, *options: str) -> list[str]:
    done = checkout.dvc("repro", "--dry", *options)
    assert done.returncode == 0, done.stderr
    return checkout.ran(done)


def darken(folder: TangFolder, name: str) -> None:
    sample = folder.read(name)
    image, white_image = (
        (picture * 0.8 * sample.mask[..., None] + picture * ~sample.mask[..., None]).astype("uint8")
        for picture in (sample.image, sample.white_image)
    )
    folder.write(dataclasses.replace(sample, image=image, white_image=white_image))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, migrated_mlflow_database: Path) -> Origin:
    aws = tmp_path_factory.mktemp("aws") / "config"
    aws.touch()
    files = {"AWS_CONFIG_FILE": str(aws), "AWS_SHARED_CREDENTIALS_FILE": str(aws)}
    checkout = Checkout.of_the_code(tmp_path_factory.mktemp("origin"), S3_ENVIRONMENT | files)
    pipeline = yaml.safe_load((checkout.folder / "dvc.yaml").read_text())
    pipeline["stages"] = {name: pipeline["stages"][name] for name in STAGES}
    (checkout.folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    shutil.copy(migrated_mlflow_database, checkout.folder / "mlflow.db")
    own = checkout.folder / "own_data/dances"
    synthesize(own, SyntheticSpec(people=2, sequences=1, frames_per_sequence=2, seed=5))
    synthesize(own / "heldout", SyntheticSpec(people=1, sequences=0, frames_per_sequence=2, seed=6))
    values = small_params()
    values["data"] |= {"source": "folder", "folder": "own_data/dances"}
    checkout.write_params(values)
    checkout.succeed("dvc", "add", "own_data/dances")
    versions, ran = {}, {}
    for version in ("v1", "v2"):
        if version == "v2":
            darken(TangFolder(own / "Tang_data"), "0000001")
        ran[version] = run_pipeline(checkout)
        checkout.git("add", "--all")
        checkout.git("commit", "-q", "-m", version)
        checkout.git("tag", version)
        versions[version] = digest(checkout)
    return Origin(checkout, versions, ran)


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("dvc_s3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def folder_remote(tmp_path: Path) -> Callable[[Checkout], None]:
    """Makes a folder the remote of a checkout."""

    def use(checkout: Checkout) -> None:
        checkout.succeed("dvc", "remote", "add", "--local", "--force", "--default", "shelf", str(tmp_path / "shelf"))

    return use


@pytest.fixture
def s3_remote(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Checkout], None]:
    """Makes a bucket of the local S3 server the remote of a checkout."""
    import boto3

    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket="people")

    def use(checkout: Checkout) -> None:
        checkout.succeed("dvc", "remote", "add", "--local", "--force", "--default", "bucket", "s3://people/hdnet")
        checkout.succeed("dvc", "remote", "modify", "--local", "bucket", "endpointurl", s3_endpoint)

    return use


def clone_of(origin: Origin, folder: Path) -> Checkout:
    origin.checkout.git("clone", "-q", str(origin.checkout.folder), str(folder))
    return Checkout(folder, origin.checkout.environment)


def test_a_change_inside_the_users_folder_reruns_what_depends_on_it(origin):
    assert set(origin.ran["v1"]) == {"acquire", "validate", "pack", "correspond"}
    assert set(origin.ran["v2"]) == {"acquire", "validate", "pack"}
    assert origin.versions["v1"] != origin.versions["v2"]


def test_git_checkout_and_dvc_checkout_restore_every_byte(origin):
    for version in ("v1", "v2"):
        origin.checkout.git("checkout", "-q", version)
        origin.checkout.succeed("dvc", "checkout")
        assert digest(origin.checkout) == origin.versions[version]
        assert would_run(origin.checkout) == []
        assert origin.checkout.git("status", "--porcelain") == ""


@pytest.mark.parametrize("remote", ["folder_remote", "s3_remote"])
def test_push_and_pull_hand_all_versions_to_a_fresh_clone(origin, remote, tmp_path, request):
    use = request.getfixturevalue(remote)
    use(origin.checkout)
    origin.checkout.succeed("dvc", "push", "--all-commits")
    clone = clone_of(origin, tmp_path / "clone")
    use(clone)
    assert not (clone.folder / "data").exists()
    for version in ("v1", "v2"):
        clone.git("checkout", "-q", version)
        clone.succeed("dvc", "pull")
        assert digest(clone) == origin.versions[version]
        assert would_run(clone) == []
        assert "in sync" in clone.succeed("dvc", "status", "--cloud")


def test_shards_alone_are_enough_to_train_elsewhere(origin, folder_remote, tmp_path):
    folder_remote(origin.checkout)
    origin.checkout.succeed("dvc", "push", "pack", "correspond")
    clone = clone_of(origin, tmp_path / "clone")
    folder_remote(clone)
    clone.succeed("dvc", "pull", "pack", "correspond")
    assert sorted(path.name for path in (clone.folder / "data").iterdir()) == ["correspondences", "packed"]
    shards = DATA[2:]
    assert digest(clone, shards) == digest(origin.checkout, shards)
    pushed = [path for path in (tmp_path / "shelf").rglob("*") if path.is_file()]
    raw = [path for path in (origin.checkout.folder / "data/raw").rglob("*") if path.is_file()]
    assert len(pushed) < len(raw)
    shutil.copy(ROOT / "dvc.yaml", clone.folder)
    assert would_run(clone, "--allow-missing", "train_normal", "correspond") == ["train_normal"]


def test_links_into_the_cache_do_not_reach_the_users_own_files(origin, tmp_path, migrated_mlflow_database):
    clone = clone_of(origin, tmp_path / "clone")
    shutil.copy(migrated_mlflow_database, clone.folder / "mlflow.db")
    shutil.copytree(origin.checkout.folder / "own_data/dances", clone.folder / "own_data/own")
    values = yaml.safe_load((clone.folder / "params.yaml").read_text())
    values["data"]["folder"] = "own_data/own"
    clone.write_params(values)
    clone.succeed("dvc", "config", "cache.type", "hardlink")
    clone.succeed("dvc", "repro", "acquire")
    name = "Tang_data/mask/0000000.png"
    linked, own = clone.folder / "data/raw" / name, clone.folder / "own_data/own" / name
    assert linked.stat().st_nlink > 1
    assert not linked.stat().st_mode & 0o222
    assert own.stat().st_nlink == 1
    assert own.stat().st_mode & 0o200
