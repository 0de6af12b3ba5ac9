"""The script that Streamlit runs; everything is in the package beside it, which Streamlit puts on the path."""

from __future__ import annotations

from rlm_visualizer.main import main

main()
