"""Uploads a converted directory to the Hugging Face Hub, with huggingface_hub, which is imported when it is needed."""

import importlib
import os

from ._api import verify as verify_directory
from ._errors import UsageError

# What an upload takes from the directory: the files of an export and its model card.
_FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def push_to_hub(
    directory,
    repo_id,
    *,
    private=None,
    token=None,
    revision=None,
    commit_message=None,
    create_pr=False,
    endpoint=None,
    verify=True,
):
    """Uploads a converted directory to a model repository on the Hugging Face Hub; returns the URL of the commit.

    The directory is verified first, unless ``verify`` is False. It must have a model card, which
    ``convert(model_card=True)`` writes. Other files than those of an export stay where they are. The repository
    ``repo_id`` is created if necessary, and ``private`` decides whether it is private. ``token``, ``revision``,
    ``commit_message``, ``create_pr`` and ``endpoint`` are those of ``huggingface_hub.HfApi``.

    Needs huggingface_hub: ``pip install 'electra-convert[hub]'``.

    Raises `VerificationError` before anything is uploaded, `UsageError` without a model card, what huggingface_hub
    raises, and `ImportError` without it.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            "this needs huggingface_hub: pip install 'electra-convert[hub]'"
        ) from error
    directory = os.fsdecode(directory)
    if verify:
        verify_directory(directory)
    if not os.path.isfile(os.path.join(directory, "README.md")):
        raise UsageError(
            f"{directory} has no model card README.md: convert with model_card=True, or write one"
        )
    api = hub.HfApi(endpoint=endpoint, token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=directory,
        allow_patterns=list(_FILES),
        revision=revision,
        commit_message=commit_message or "Upload a model converted by electra-convert",
        create_pr=create_pr,
    )
    return commit.commit_url
