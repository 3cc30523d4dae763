"""The front door of tiedae: command line, recipes, data sources and the pipeline that joins the other packages."""

__version__ = "0.1.0"
