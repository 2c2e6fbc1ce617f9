/**
 * Learns the density of false alarms over delay and Doppler, in cells that are small around zero Doppler, where ground echoes
 * occur, and grow outwards. A cell with few samples stays close to the overall density: its density is the mean of a gamma
 * posterior with the overall density as prior (D. Mušicki, S. Suvorova, M. Morelande and B. Moran, "Clutter map and target
 * tracking", Proc. 8th Int. Conf. Information Fusion, 2005). Owned by `sensor-model.ts`.
 */

/** An axis with cells that are evenly spaced in asinh(value / scale). */
interface Axis {
  readonly cells: number;
  readonly scale: number;
  /** Start of the first cell, in asinh. The first and the last cell are open-ended. */
  readonly start: number;
  readonly step: number;
}

/** From −2 to 2 kHz; 4 Hz wide around zero, 20 Hz at 100 Hz. */
const DOPPLER: Axis = { cells: 54, scale: 20, start: -5.4, step: 0.2 };
/** From 0 to 220 km; 8 km wide at zero, 25 km at 50 km. */
const DELAY: Axis = { cells: 8, scale: 20, start: 0, step: 0.39 };
/** Memory of the map, in frames. */
const FRAMES = 200;
/** Weight of the prior, in false alarms. */
const PRIOR_COUNT = 0.5;
/** Lower bound of a cell's density as a share of the overall density: some cells extend beyond the radar's coverage. */
const SHARE_MIN = 0.5;

function cellOf({ cells, scale, start, step }: Axis, value: number): number {
  const cell = Math.floor((Math.asinh(value / scale) - start) / step);
  return Math.min(cells - 1, Math.max(0, cell));
}

function widthOf({ scale, start, step }: Axis, cell: number): number {
  return scale * (Math.sinh(start + (cell + 1) * step) - Math.sinh(start + cell * step));
}

const AREAS = Float64Array.from({ length: DOPPLER.cells * DELAY.cells }, (_, cell) => {
  const delayCell = cell % DELAY.cells;
  return widthOf(DELAY, delayCell) * widthOf(DOPPLER, (cell - delayCell) / DELAY.cells);
});

export class ClutterMap {
  /** Number of false alarms in each cell, with exponentially decaying weights. */
  readonly #counts = new Float64Array(AREAS.length);
  /** Number of frames with the same weights. */
  #frames = 0;

  /** Starts a frame. */
  nextFrame(): void {
    const kept = 1 - 1 / FRAMES;
    this.#frames = this.#frames * kept + 1;
    for (let cell = 0; cell < AREAS.length; cell++) {
      this.#counts[cell] = (this.#counts[cell] as number) * kept;
    }
  }

  /** Adds a false alarm of this frame. */
  learn(delayKm: number, dopplerHz: number): void {
    const cell = this.#cellAt(delayKm, dopplerHz);
    this.#counts[cell] = (this.#counts[cell] as number) + 1;
  }

  /** Expected false alarms per frame and km·Hz at this position, given the overall density `mean`. */
  density(delayKm: number, dopplerHz: number, mean: number): number {
    const cell = this.#cellAt(delayKm, dopplerHz);
    const count = this.#counts[cell] as number;
    const exposure = this.#frames * (AREAS[cell] as number);
    return Math.max(SHARE_MIN * mean, (count + PRIOR_COUNT) / (exposure + PRIOR_COUNT / mean));
  }

  #cellAt(delayKm: number, dopplerHz: number): number {
    return cellOf(DOPPLER, dopplerHz) * DELAY.cells + cellOf(DELAY, delayKm);
  }
}
