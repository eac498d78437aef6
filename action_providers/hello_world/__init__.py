"""Hello World: the smallest provider, for trying out flows, waiting and consents."""

from .provider import HelloWorld

__all__ = ["HelloWorld"]
