import type { State } from "../state.ts";
import type { Texts } from "../texts/index.ts";

/** What each section is given. */
export interface SectionProps {
  state: State;
  change: (part: Partial<State>) => void;
  text: Texts;
}
