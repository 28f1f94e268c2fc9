"""``python -m forethought`` is the command ``forethought``."""

from forethought.cli import main

raise SystemExit(main())
