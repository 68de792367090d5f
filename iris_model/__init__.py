"""The example model: which species of iris a flower is, from four measurements of it."""

__all__ = ["__description__", "__display_name__", "__qualified_name__", "__version__", "__version_info__"]

__display_name__ = "Iris Model"
__qualified_name__ = "iris_model"
__description__ = "Predicts the species of an iris from the length and width, in cm, of its sepals and petals."

__version_info__ = (0, 1)
__version__ = ".".join(map(str, __version_info__))
