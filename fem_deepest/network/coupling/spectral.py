"""Convolution by the fast Fourier transform: for kernels that reach far on fine grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.coupling.protocol import Work

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


class SpectralConvolution(OperatorCoupling):
    """The same map as :class:`.OperatorCoupling` with shifts, in ``O(N log N)`` whatever the reach.

    States are padded with so many zeros that nothing comes round: ``w * x`` is a product at every
    frequency, mixed over the channels, and the gradient in the kernel is the correlation of ``v`` with
    ``x``, summed over the samples before the one transform back.

    Attributes:
        masses: Lumped masses of the nodes (nodes,), the weights of the integral.
        steps: Offsets in nodes, (offsets, directions).
        grid: Nodes down and across, or along the line.
    """

    def __init__(
        self, *arguments: Any, masses: Array, steps: NDArray[np.int64], grid: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.masses, self.steps, self.grid = masses, steps, tuple(grid)
        reach = np.abs(steps).max(axis=0)
        sizes = zip(self.grid, reach.tolist(), strict=True)
        self._padded = tuple(fft.next_fast_len(n + r, True) for n, r in sizes)
        self._axes = tuple(range(-1 - len(self.grid), -1))
        self._inside: Any = (..., *(slice(n) for n in self.grid), slice(None))
        # A negative offset is at the end of the padded grid.
        self._at_offsets: Any = (..., 0, *np.mod(steps, self._padded).T, slice(None))

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """None: transforms make new arrays."""
        return ()

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``w * (m x) + b``."""
        self.tangent(theta, full[..., :-1, :], out, work)
        channels = self._channels(out)
        channels += self._matrices(theta)[..., -1][..., None, None]

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``w * (m dx)``."""
        product = self._kernel(theta) @ self._sent(dx)
        self._channels(out)[...] = self._back(product)

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``m`` times the correlation of ``w`` with ``v``."""
        kernel = np.conj(np.swapaxes(self._kernel(theta), -1, -2))
        self._channels(out)[...] = self._back(kernel @ self._forward(self._channels(v)))
        self._channels(out)[...] *= self.masses[:, None]

    def gradient(self, theta: Array, v: Array, full: Array, out: Array, work: Work) -> None:
        """Correlation of ``v`` with ``m x``, summed over the samples, at the offsets."""
        matrices = self._matrices(out)
        self._correlate(v, full[..., :-1, :], matrices[..., :-1])
        matrices[..., -1] = self._channels(v).sum(axis=(-2, -1))

    def _outer(self, v: Array, dx: Array, out: Array, work: Work) -> None:
        self._correlate(v, dx, out)

    def _correlate(self, v: Array, x: Array, out: Array) -> None:
        """``sum_k v_k (m x_k)`` at every offset, into (..., C, C offsets)."""
        spectra = self._forward(self._channels(v)) @ np.conj(np.swapaxes(self._sent(x), -1, -2))
        # (..., frequency, C, C) with the pairs of channels in the place of the samples.
        pairs = spectra.reshape(*spectra.shape[:-2], 1, self.channels**2)
        values = self._grid_back(pairs)[self._at_offsets]
        shape = *out.shape[:-2], self.channels, self.channels, len(self.steps)
        out[...] = np.moveaxis(values, -1, -2).reshape(shape).reshape(out.shape)

    def _channels(self, z: Array) -> Array:
        """(..., C nodes, K) as (..., C, nodes, K)."""
        return z.reshape(*z.shape[:-2], self.channels, self.nodes, z.shape[-1])

    def _sent(self, x: Array) -> Complex:
        """Spectrum of ``m x``."""
        return self._forward(self._channels(x) * self.masses[:, None])

    def _forward(self, fields: Array) -> Complex:
        """Spectra (..., frequencies, C, K) of fields (..., C, nodes, K)."""
        on_grid = fields.reshape(*fields.shape[:-2], *self.grid, fields.shape[-1])
        spectra = fft.rfftn(on_grid, self._padded, axes=self._axes)
        flat = spectra.reshape(*fields.shape[:-2], -1, fields.shape[-1])
        return np.asarray(np.swapaxes(flat, -3, -2))

    def _grid_back(self, spectra: Complex) -> Array:
        """Fields (..., C, padded grid, K) of spectra (..., frequencies, C, K)."""
        flat = np.swapaxes(spectra, -3, -2)
        half = (*self._padded[:-1], self._padded[-1] // 2 + 1)
        on_grid = flat.reshape(*flat.shape[:-2], *half, flat.shape[-1])
        return np.asarray(fft.irfftn(on_grid, self._padded, axes=self._axes))

    def _back(self, spectra: Complex) -> Array:
        """Fields (..., C, nodes, K) of spectra, cut off at the end of the grid."""
        fields = self._grid_back(spectra)[self._inside]
        return fields.reshape(*spectra.shape[:-3], spectra.shape[-2], self.nodes, -1)

    def _kernel(self, theta: Array) -> Complex:
        """Spectrum of the kernel, (..., frequencies, C, C)."""
        c, lead = self.channels, theta.shape[:-2]
        weights = self._matrices(theta)[..., :-1].reshape(*lead, c * c, len(self.steps))
        kernel = np.zeros((*lead, 1, *self._padded, c * c))
        kernel[self._at_offsets] = np.swapaxes(weights, -1, -2)
        spectra = fft.rfftn(kernel, axes=self._axes)
        return np.asarray(spectra.reshape(*lead, -1, c, c))
