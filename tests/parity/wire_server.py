"""``python -m tests.parity.wire_server theirs|ours``: serves one package's half of all scenarios."""

from __future__ import annotations

import logging
import sys

from tests.parity.kit import api
from tests.parity.wire_kit import build


def main(side: str) -> None:
    """Serve one package's application on a free port until SIGTERM."""
    logging.basicConfig(level=logging.INFO)
    app, sio = build(api(side))
    sio.run(app, port=0, allow_unsafe_werkzeug=True)


if __name__ == "__main__":
    main(sys.argv[1])
