import type { State } from "../state.ts";
import type { Texts } from "../texts/index.ts";

/** The props of each section. */
export interface SectionProps {
  state: State;
  change: (part: Partial<State>) => void;
  text: Texts;
}
