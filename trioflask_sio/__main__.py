"""``python -m trioflask_sio``."""

from trioflask_sio.bridge.cli import main

if __name__ == "__main__":
    main()
