import type { TopLevelSpec } from 'vega-lite';

/** A moment of a fill under a soft signal. */
export interface Point {
  /** Seconds since its start. */
  at: number;
  /** Of WAL a second, MB: observed, and its limit. */
  rate: number;
  limit: number;
  /** The rest after each chunk, as a multiple of the usual one. */
  factor: number;
  /** The last chunk, and the rows between two reports: a chunk, or a stretch in its parts. */
  chunkMs: number;
  chunkRows: number;
}

/** Three charts, one above the other, over the same seconds. Pure. */
export function chartOf(points: readonly Point[]): TopLevelSpec {
  const x = { field: 'at', type: 'quantitative', title: 'seconds' } as const;
  const line = (field: keyof Point, title: string, color: string, dash: number[] = []) =>
    ({
      mark: { type: 'line', color, strokeDash: dash, strokeWidth: 1.2 },
      encoding: { x, y: { field, type: 'quantitative', title } },
    }) as const;
  const size = { width: 760, height: 150 };
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    background: 'white',
    data: { values: [...points] },
    vconcat: [
      {
        ...size,
        layer: [
          line('rate', 'WAL, MB/s (limit dashed)', '#1f5fa8'),
          line('limit', 'WAL, MB/s (limit dashed)', '#c0392b', [5, 4]),
        ],
      },
      { ...size, layer: [line('factor', 'rest, times the usual', '#2e7d32')] },
      { ...size, height: 100, layer: [line('chunkMs', 'chunk, ms', '#555555')] },
      { ...size, height: 100, layer: [line('chunkRows', 'rows between reports', '#555555')] },
    ],
  };
}
