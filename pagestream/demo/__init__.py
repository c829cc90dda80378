"""One real city to walk: four years of its minutes, and how they are served."""
