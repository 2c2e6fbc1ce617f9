/**
 * Optimal assignment of rows to columns by shortest augmenting paths with dual prices: R. Jonker and A. Volgenant, "A shortest
 * augmenting path algorithm for dense and sparse linear assignment problems", Computing 38 (1987). Called by `association.ts`
 * for each cluster of tracks and detections.
 */

/**
 * Assigns a different column to every row so that the sum of the costs is minimal, and returns the column of each row. `costs`
 * is row-major, `rows` × `columns`, finite, with `rows` ≤ `columns`; costs may be negative. Takes O(rows² · columns) time.
 */
export function assign(costs: Float64Array, rows: number, columns: number): Int32Array {
  const rowPrice = new Float64Array(rows);
  const columnPrice = new Float64Array(columns);
  const rowOfColumn = new Int32Array(columns).fill(-1);
  const columnOfRow = new Int32Array(rows).fill(-1);
  const previousRow = new Int32Array(columns);
  const distance = new Float64Array(columns);
  const settled = new Uint8Array(columns);

  for (let start = 0; start < rows; start++) {
    distance.fill(Number.POSITIVE_INFINITY);
    settled.fill(0);
    let row = start;
    let reached = 0;
    let end = -1;
    // Dijkstra over reduced costs, from the free row to the nearest free column.
    while (end < 0) {
      let nearest = -1;
      let nearestDistance = Number.POSITIVE_INFINITY;
      for (let column = 0; column < columns; column++) {
        if (settled[column] === 1) continue;
        const through =
          reached + at(costs, row * columns + column) - at(rowPrice, row) - at(columnPrice, column);
        if (through < at(distance, column)) {
          distance[column] = through;
          previousRow[column] = row;
        }
        if (at(distance, column) < nearestDistance) {
          nearestDistance = at(distance, column);
          nearest = column;
        }
      }
      settled[nearest] = 1;
      reached = nearestDistance;
      const owner = at(rowOfColumn, nearest);
      if (owner < 0) end = nearest;
      else row = owner;
    }
    reprice(start, reached, settled, distance, rowOfColumn, rowPrice, columnPrice);
    augment(start, end, previousRow, rowOfColumn, columnOfRow);
  }
  return columnOfRow;
}

/** Restores reduced costs ≥ 0, and 0 on assigned pairs, after a search up to the distance `reached`. */
function reprice(
  start: number,
  reached: number,
  settled: Uint8Array,
  distance: Float64Array,
  rowOfColumn: Int32Array,
  rowPrice: Float64Array,
  columnPrice: Float64Array,
): void {
  rowPrice[start] = at(rowPrice, start) + reached;
  for (let column = 0; column < settled.length; column++) {
    if (settled[column] === 0) continue;
    const slack = reached - at(distance, column);
    columnPrice[column] = at(columnPrice, column) - slack;
    const row = at(rowOfColumn, column);
    if (row >= 0) rowPrice[row] = at(rowPrice, row) + slack;
  }
}

/** Flips the augmenting path that ends at column `end`, so that row `start` gets a column and no other row loses its own. */
function augment(
  start: number,
  end: number,
  previousRow: Int32Array,
  rowOfColumn: Int32Array,
  columnOfRow: Int32Array,
): void {
  let column = end;
  for (;;) {
    const row = at(previousRow, column);
    rowOfColumn[column] = row;
    const next = at(columnOfRow, row);
    columnOfRow[row] = column;
    if (row === start) return;
    column = next;
  }
}

function at(array: Float64Array | Int32Array, index: number): number {
  return array[index] as number;
}
