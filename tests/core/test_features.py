from dataclasses import dataclass
from typing import Annotated

import pytest

from agewalk.core.features import cites, named_features


def test_a_citation_is_one_line_of_text() -> None:
    @named_features
    @dataclass(frozen=True, slots=True)
    class Lamp:
        bright: Annotated[
            bool,
            """Shines more.
        Since 2.0.""",
        ] = False

    assert cites(Lamp) == {"bright": "Shines more. Since 2.0."}
    assert Lamp(bright=True).bright


def test_a_feature_without_a_citation_is_refused() -> None:
    with pytest.raises(TypeError, match="Lamp: no citation for bright"):

        @named_features
        @dataclass
        class Lamp:
            bright: bool
