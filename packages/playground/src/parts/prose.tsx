import type { JSX } from "preact";

/** Text with `code` in backticks. Code may break between the words of a name only. */
export function Prose({ children }: { children: string }): JSX.Element {
  return <>{children.split("`").map((part, i) => (i % 2 ? <Code key={part}>{part}</Code> : part))}</>;
}

export function Code({ children }: { children: string }): JSX.Element {
  const parts = children.split(/(?<=[_/ ])|(?<=[a-z])(?=[A-Z][a-z])/);
  return (
    <code>
      {parts.map((part, i) => (
        <>
          {i > 0 && <wbr />}
          <span key={i}>{part}</span>
        </>
      ))}
    </code>
  );
}
