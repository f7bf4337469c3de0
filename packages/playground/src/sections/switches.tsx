import type { JSX } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";
import type { Language } from "../texts/index.ts";
import type { SectionProps } from "./props.ts";

const THEMES = ["auto", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

const LANGUAGES: readonly [Language, string][] = [
  ["en", "English"],
  ["de", "Deutsch"],
];

/** Language and colours. Colours are the reader's preference, so they stay out of the address. */
export function Switches({ state, change, text }: SectionProps): JSX.Element {
  const [theme, setTheme] = useState(readTheme);
  useLayoutEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    writeTheme(theme);
  }, [theme]);
  return (
    <div class="switches">
      <fieldset class="choice">
        <legend class="unseen">{text.language}</legend>
        {LANGUAGES.map(([language, name]) => (
          <label key={language} lang={language}>
            <input
              type="radio"
              name="language"
              value={language}
              checked={state.language === language}
              onChange={() => change({ language })}
            />
            <span>{name}</span>
          </label>
        ))}
      </fieldset>
      <fieldset class="choice">
        <legend class="unseen">{text.theme.title}</legend>
        {THEMES.map((name) => (
          <label key={name}>
            <input type="radio" name="theme" value={name} checked={theme === name} onChange={() => setTheme(name)} />
            <span>{text.theme[name]}</span>
          </label>
        ))}
      </fieldset>
    </div>
  );
}

// Some browsers have no storage for pages opened from disk.
function readTheme(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem("theme")) ?? "auto";
  } catch {
    return "auto";
  }
}

function writeTheme(theme: Theme): void {
  try {
    localStorage.setItem("theme", theme);
  } catch {}
}
