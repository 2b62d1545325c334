import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { isDark } from "./screen.ts";

export interface Series {
  readonly name: string;
  readonly colour: readonly [light: string, dark: string];
  readonly values: readonly (number | null)[];
}

/** Lines over time; `at` in milliseconds. The canvas is for eyes: `summary` says it in words. */
export function Chart(props: {
  at: readonly number[];
  series: readonly Series[];
  summary: string;
  unit: string;
}): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | undefined>(undefined);
  const dark = isDark();
  const data = (): UPlot.AlignedData => [
    props.at.map((at) => at / 1000),
    ...props.series.map(({ values }) => [...values]),
  ];

  useEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const made = new UPlot(options(props.series, dark, element.clientWidth, props.unit), data(), element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [dark, props.series.length]);
  useEffect(() => plot.current?.setData(data()), [props.at]);

  return (
    <div class="chart">
      <ul class="legend" aria-hidden="true">
        {props.series.map(({ name, colour }) => (
          <li key={name}>
            <i style={{ background: colour[dark ? 1 : 0] }} />
            {name}
          </li>
        ))}
      </ul>
      <div class="chart-frame" ref={frame} role="img" aria-label={props.summary} />
    </div>
  );
}

function options(series: readonly Series[], dark: boolean, width: number, unit: string): UPlot.Options {
  const [line, text] = dark ? ["#28323a", "#93a3ae"] : ["#e4e8eb", "#56626d"];
  const axis: UPlot.Axis = {
    stroke: text,
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
    font: "11px InterVariable, system-ui, sans-serif",
  };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 5 } },
    padding: [8, 8, 0, 0],
    scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, Math.ceil((max || 0) * 1.15))] } },
    axes: [
      { ...axis, size: 24, space: 70, values: (_plot, ticks) => ticks.map(clockTime) },
      { ...axis, size: 40, space: 32, values: (_plot, ticks) => ticks.map((tick) => `${tick}${unit}`) },
    ],
    series: [
      {},
      ...series.map(({ name, colour }) => ({
        label: name,
        stroke: colour[dark ? 1 : 0],
        width: 1.6,
        points: { show: false },
      })),
    ],
  };
}

function clockTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((one) => String(one).padStart(2, "0"))
    .join(":");
}

const HEIGHT = 190;
