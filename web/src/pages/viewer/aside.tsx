// The column beside the views: what is pointed at in numbers, and what the model says.

import { HeadGrid } from "../../common/headgrid";
import { Segments, Switch } from "../../common/controls";
import { percent, precise, signed, weight as weightText } from "../../common/format";
import { Term } from "./help";
import { type Outcome, doc, hasHead, item } from "./model";
import { CellReadout } from "./matrix";
import {
  goTo,
  head,
  keys,
  layer,
  masked,
  outcome,
  outcomes,
  overlay,
  queries,
  sources,
  spots,
  units,
  view,
  visible,
} from "./state";

export function Aside() {
  return (
    <aside class="aside">
      {view.value === "heads" && (
        <section class="card pad" aria-live="polite">
          <h2>
            <Term word="weight">Weights</Term>
          </h2>
          <SpotReadout />
        </section>
      )}
      {view.value === "matrix" && (
        <section class="card pad" aria-live="polite">
          <h2>Cell</h2>
          <CellReadout />
        </section>
      )}
      {item.value.predictions.length > 0 && (
        <section class="card pad" data-testid="prediction">
          <Predictions />
        </section>
      )}
      {doc.importance && (
        <section class="card pad">
          <h2>Importance</h2>
          <p class="muted small">{doc.importance.source}</p>
          <HeadGrid
            label="Importance of heads"
            layers={doc.model.layers}
            heads={doc.model.heads}
            values={doc.importance.values}
            text={precise}
            present={hasHead}
            selected={{ layer: layer.value, head: head.value }}
            onSelect={goTo}
          />
        </section>
      )}
    </aside>
  );
}

/** The strongest partners of the tokens that are looked at. */
function SpotReadout() {
  const at = spots.value;
  const list = sources.value;
  if (!at.length || !list?.length) {
    return (
      <p class="muted">
        Point at a token to follow it alone. Click to hold it, with Shift to hold several. Every number is the mean
        over the heads that are on.
      </p>
    );
  }
  const side = at[0].side;
  const others = side === "query" ? keys.value : queries.value;
  const size = units.value.length;
  const rows = others
    .filter((unit) => at.some((spot) => (side === "query" ? visible(spot.unit, unit) : visible(unit, spot.unit))))
    .map((unit) => {
      let sum = 0;
      let top = 0;
      let best = list[0].head;
      for (const { map, head } of list) {
        let mine = 0;
        for (const spot of at) mine += side === "query" ? map[spot.unit * size + unit] : map[unit * size + spot.unit];
        mine /= at.length;
        sum += mine;
        if (mine > top) {
          top = mine;
          best = head;
        }
      }
      return { unit, mean: sum / list.length, top, best };
    })
    .sort((a, b) => b.mean - a.mean)
    .slice(0, 8);
  const name = at.length === 1 ? units.value[at[0].unit].name : `${at.length} tokens`;
  const many = list.length > 1;
  return (
    <div>
      <p class="small">
        {side === "query" ? "from " : "to "}
        <b>{name}</b>
      </p>
      <table class="weights number">
        <thead>
          <tr>
            <th>{side === "query" ? "to" : "from"}</th>
            <th>{many ? "mean" : "weight"}</th>
            {many && <th>strongest head</th>}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ unit, mean, top, best }) => (
            <tr key={unit}>
              <td class="text" title={units.value[unit].name}>
                {units.value[unit].text}
              </td>
              <td data-value={mean}>{weightText(mean)}</td>
              {many && (
                <td>
                  {best} <span class="muted">{weightText(top)}</span>
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Predictions() {
  const found = outcomes.value[outcome.value];
  const { predictions } = item.value;
  const prediction = predictions[outcome.value];
  const key = `${layer.value}.${head.value}`;
  const known = found?.without.has(key) ?? false;
  const effects: (number | null)[] = [];
  for (let l = 0; l < doc.model.layers; l++) {
    for (let h = 0; h < doc.model.heads; h++) effects.push(found?.effects.get(`${l}.${h}`) ?? null);
  }
  const probability = prediction.kind !== "values";
  return (
    <div>
      <h2>Prediction</h2>
      {predictions.length > 1 ? (
        <Segments
          label="Which prediction"
          choices={predictions.map((p, i) => ({ value: String(i), name: p.position === null ? p.name : `at ${p.position}` }))}
          value={String(outcome.value)}
          onChange={(value) => (outcome.value = Number(value))}
        />
      ) : null}
      <p class="muted small">{prediction.name}</p>
      {prediction.heads.length > 0 && (
        <Switch value={masked.value} onChange={(value) => (masked.value = value)} disabled={!known}>
          Mask layer {layer.value}, head {head.value}
        </Switch>
      )}
      {found && <Bars found={found} changed={masked.value && known ? found.without.get(key)! : null} />}
      {found && prediction.heads.length > 0 && (
        <div class="effects">
          <p class="small">
            <b>
              <Term word="worth">What each head is worth here</Term>
            </b>
            <span class="muted">
              {" "}
              · {probability ? "divergence of the prediction without it, in nats" : "largest change of an output without it"}
            </span>
          </p>
          <HeadGrid
            label="Change of the prediction without each head"
            layers={doc.model.layers}
            heads={doc.model.heads}
            values={effects}
            text={precise}
            present={hasHead}
            selected={{ layer: layer.value, head: head.value }}
            onSelect={(l, h) => {
              goTo(l, h);
              if (overlay.value === "none" && !masked.value) masked.value = true;
            }}
          />
        </div>
      )}
    </div>
  );
}

function Bars(props: { found: Outcome; changed: Float32Array | null }) {
  const { found, changed } = props;
  const { prediction, whole } = found;
  const order = prediction.labels.map((_, i) => i);
  const value = (i: number) => (changed ?? whole)[i];
  if (prediction.kind === "tokens") order.sort((a, b) => value(b) - value(a));
  const rows = prediction.kind === "tokens" ? order.slice(0, 7) : order.slice(0, 12);
  const probability = prediction.kind !== "values";
  const largest = probability ? 1 : Math.max(...whole.map(Math.abs), ...(changed ?? []).map(Math.abs), 1e-9);
  const share = (x: number) => `${Math.min(100, (Math.abs(x) / largest) * 100)}%`;
  const text = (x: number) => (probability ? percent(x) : signed(x));
  return (
    <ul class="bars">
      {rows.map((i) => (
        <li key={i}>
          <span class="text">{prediction.labels[i]}</span>
          <span class="number" data-label={prediction.labels[i]} data-value={value(i)}>
            {text(value(i))}
            {changed && (
              <span class={changed[i] >= whole[i] ? "up" : "down"}>
                {" "}
                {probability ? signed((changed[i] - whole[i]) * 100, 1) : signed(changed[i] - whole[i])}
              </span>
            )}
          </span>
          <span class="bar-line" aria-hidden="true">
            <i style={{ width: share(value(i)) }} />
            {changed && <b style={{ left: share(whole[i]) }} />}
          </span>
        </li>
      ))}
    </ul>
  );
}
