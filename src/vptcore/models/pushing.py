"""An exported model's folder goes to a repository of a hub.

In: a folder that `models.export` wrote and OWNER/NAME. Out: the address of its page. The token is huggingface_hub's
own: what `hf auth login` stored, or the environment variable HF_TOKEN; HF_ENDPOINT names another hub.

    vptcore export results/demo vpt/digits/160 model --push OWNER/NAME
"""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# What a model's folder has, and nothing that a person put beside it.
FILES = ("config.json", "model.safetensors", "README.md", "predict.py", "model.py", "model.onnx")


def check_push(repository: str) -> None:
    """Raise ValueError (one line) for a name that is none, or where nobody is logged in: before anything is written."""
    from huggingface_hub import get_token

    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"--push: {repository!r} is not a repository; expected OWNER/NAME")
    if not get_token():
        raise ValueError("--push: nobody is logged in; run `hf auth login`, or set HF_TOKEN to a token that may write")


def push(folder: Path, repository: str, *, public: bool = False) -> str:
    """Upload the files of a model in one commit, into a repository that is made private if it is not there yet.

    Returns a line with the page's address. Raises ValueError (one line) where the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    check_push(repository)
    api = HfApi()
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(FILES), commit_message="Add the model"
        )
    except Exception as error:  # whatever the HTTP library under huggingface_hub raises: it changes between versions
        said = getattr(error, "server_message", None) or str(error).strip() or type(error).__name__
        raise ValueError(
            f"--push: {api.endpoint} did not take {repository} ({said.splitlines()[0]}); the model is in {folder}"
        ) from None
    return f"{folder}: pushed to {commit.repo_url}"
