"""As little as a degradation can be, with closed forms: for tests of what is done with degradations."""

from medtrans.simulate.degradation import Degradation, Degradationd, limits


class Louder(Degradation):
    """The image times a gain that is drawn, plus the thickness in mm of what it was shown, plus a companion."""

    companions = ("ct",)

    def __init__(self, gain=(1.5, 3.0), failing=False):
        self.gain, self.failing = limits(gain), failing

    def draw(self, shape, spacing):
        return {"gain": self.between(self.gain), "spacing": list(spacing)}

    def apply(self, img, parameters, spacing, **companions):
        if self.failing and img.max() > self.failing:
            raise ValueError("is too loud already")
        louder = img * parameters["gain"]
        return louder + companions["ct"] if companions else louder


class Louderd(Degradationd):
    array_form = Louder
