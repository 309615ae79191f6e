"""What an error says where a captioner's weights are not on this machine; nothing here waits longer than 3 s."""

from __future__ import annotations

from search.errors import ModelError
from search.models import hub


def check_download(name: str, allowed: bool) -> None:
    """Return if the weights of the captioner `name`, which are not on this machine, can be downloaded now.

    Raises:
        ModelError: they cannot; it says what can be done.
    """
    ways_out = (
        f"With a network, `sightline index --captions {name}` downloads it; without one, use the built-in captioner "
        "(`sightline index --captions starter`) or a checkpoint on this machine "
        f"(`sightline index --captions {name.partition(':')[0]}:{'local-dir:' * name.startswith('coca')}FOLDER`)."
    )
    if not allowed:
        raise ModelError(f"The captioner {name} is not on this machine. {ways_out}")
    if not hub.hub_answers():
        raise ModelError(
            f"The captioner {name} is not on this machine and the Hugging Face hub does not answer. {ways_out}"
        )
