"""What is wrong with a folder or a dataset, as a list of findings.

``validate_folder`` and ``validate_dataset`` return everything they find and never raise on broken
data. Matrices are read once, in pieces of bounded size.
"""

from deeph_spec.validation.datasets import consistency_findings, validate_dataset
from deeph_spec.validation.findings import RULES, Finding
from deeph_spec.validation.folders import validate_folder

__all__ = ["RULES", "Finding", "consistency_findings", "validate_dataset", "validate_folder"]
