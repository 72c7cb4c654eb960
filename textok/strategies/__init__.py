"""How a fit is spread over devices, where Lightning's own strategies are not enough."""

from textok.strategies.sharded import FullySharded

__all__ = ["FullySharded"]
