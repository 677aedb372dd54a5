"""The simulated shop: a complete dataset with known truth, for tests of the whole walk and for load.

Never evidence of accuracy on real shops. `world` and `effects` hold the frozen parameters.
"""

from training.simulation.run import SimulationReport, simulate

__all__ = ["SimulationReport", "simulate"]
