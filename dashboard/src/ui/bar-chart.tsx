import { useElementSize } from "@mantine/hooks"
import type { Bar } from "../usage/report.ts"
import { compact } from "./format.ts"

/** Until the real width is known. */
const USUAL_WIDTH = 960
const HEIGHT = 220
const FOOT = 24
const LEFT = 52

/** Bars with a scale. The same numbers stand in a table for those who cannot see it. */
export function BarChart({ bars, label }: { bars: readonly Bar[]; label: string }) {
  const top = niceTop(Math.max(...bars.map((b) => b.value), 1))
  // Drawn at the size it is shown at: scaled down, its texts could not be read.
  const { ref, width: shown } = useElementSize()
  const width = shown || USUAL_WIDTH
  const step = (width - LEFT) / bars.length
  const labelled = Math.ceil(26 / step)
  const y = (value: number) => (HEIGHT - FOOT) * (1 - value / top) + 8
  return (
    <div className="at-chart" ref={ref}>
      <svg viewBox={`0 0 ${width} ${HEIGHT + 8}`} role="img" aria-label={label}>
        {[0, 0.5, 1].map((share) => (
          <g key={share}>
            <line x1={LEFT} x2={width} y1={y(top * share)} y2={y(top * share)} className="at-chart-line" />
            <text x={LEFT - 8} y={y(top * share) + 4} textAnchor="end">
              {compact(top * share)}
            </text>
          </g>
        ))}
        {bars.map((bar, i) => (
          <g key={bar.label}>
            <title>{bar.detail}</title>
            <rect
              className="at-chart-bar"
              x={LEFT + i * step + step * 0.15}
              width={step * 0.7}
              y={bar.value > 0 ? Math.min(y(bar.value), y(0) - 2) : y(0)}
              height={bar.value > 0 ? Math.max(y(0) - y(bar.value), 2) : 0}
              rx={3}
            />
            {i % labelled === 0 ? (
              <text x={LEFT + i * step + step / 2} y={HEIGHT + 4} textAnchor="middle">
                {bar.label}
              </text>
            ) : null}
          </g>
        ))}
      </svg>
      <table className="at-hidden">
        <caption>{label}</caption>
        <tbody>
          {bars
            .filter((bar) => bar.value > 0)
            .map((bar) => (
              <tr key={bar.label}>
                <th scope="row">{bar.label}</th>
                <td>{bar.value}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  )
}

/** The next number that begins a scale well: 1, 2 or 5 with zeros. */
function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  const digit = [1, 2, 5, 10].find((d) => value <= d * power) ?? 10
  return digit * power
}
