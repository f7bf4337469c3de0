import type { JSX } from "preact";
import { Code, Prose } from "../parts/prose.tsx";
import type { Texts } from "../texts/index.ts";

const FILES = [
  "tensorflow/python/ops/nn_ops.py",
  "tensorflow/core/kernels/sparse_xent_op.cc",
  "tensorflow/core/kernels/sparse_xent_op.h",
  "tensorflow/python/ops/nn_grad.py",
];

export function Origin({ text }: { text: Texts }): JSX.Element {
  const t = text.origin;
  return (
    <section aria-labelledby="origin-heading">
      <h2 id="origin-heading">{t.heading}</h2>
      <p class="prose">
        <Prose>{t.text}</Prose>
      </p>
      <ol class="places">
        {FILES.map((file, i) => (
          <li key={file}>
            <a href={`https://github.com/tensorflow/tensorflow/blob/master/${file}`}>
              <Code>{file}</Code>
            </a>
            <p>
              <Prose>{t.places[i] ?? ""}</Prose>
            </p>
          </li>
        ))}
      </ol>
      <div class="panel">
        <table class="source">
          <caption>{t.table}</caption>
          <thead>
            <tr>
              {t.columns.map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {t.steps.map(({ step, code, says }) => (
              <tr key={code}>
                <td>
                  {step.split(", ").map((n) => (
                    <span key={n} class="step-number">
                      {n}
                    </span>
                  ))}
                </td>
                <td>
                  <Code>{code}</Code>
                </td>
                <td>{says}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="prose">{t.same}</p>
      <p class="prose">{t.otherwise}</p>
    </section>
  );
}
