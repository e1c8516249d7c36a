"""The pretended card, made once a session; where it cannot be, its tests are skipped and say why."""

import pytest

from tests.vptcore.gpu import pretend


@pytest.fixture(scope="session")
def card(tmp_path_factory):
    """run(code) on the pretended card: what the code answers."""
    if why := pretend.missing():
        pytest.skip(f"the pretended GPU cannot be made here: {why}")
    library = pretend.build(tmp_path_factory.mktemp("card"))
    return lambda code, **environment: pretend.run(library, code, **environment)
