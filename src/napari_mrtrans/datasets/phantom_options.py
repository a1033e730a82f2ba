"""How many phantoms, of what kind."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PhantomOptions(BaseModel):
    """Imaginary subjects to train on, never to validate or test on (see :mod:`.phantom`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subjects: int = Field(40, ge=1, description="imaginary people")
    share: float = Field(0.5, gt=0, le=1, description="probability that a slice is a phantom's, not one of --data")
    lesions: float = Field(0.3, ge=0, le=1, description="probability that a phantom has multiple-sclerosis lesions")
    tumours: float = Field(0.1, ge=0, le=1, description="probability that it has a tumour instead")
    max_slice_mm: float = Field(6.0, ge=1, le=20, description="thickest slices; each scan has its own, from 1 mm")
    resolution_mm: int = Field(1, ge=1, le=8, description="voxel size; coarse ones are made quickly, for a trial")

    @model_validator(mode="after")
    def _one_disease(self) -> PhantomOptions:
        if self.lesions + self.tumours > 1:
            raise ValueError("lesions and tumours together exceed 1")
        return self
