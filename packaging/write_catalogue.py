"""Write the catalogue that the window shows until the engine has loaded."""

from metaviz.files.atomic import write_text
from metaviz.paths import resource
from metaviz.training.engine import build_catalogue


def main() -> None:
    """Replace `resources/catalogue.json` by a description of the methods and problems there are."""
    text = build_catalogue().model_dump_json(indent=1)
    write_text(resource("catalogue.json"), text + "\n")


if __name__ == "__main__":
    main()
