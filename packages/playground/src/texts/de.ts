import type { Texts } from "./en.ts";

export const de: Texts = {
  title: "Was die Sparse Softmax Cross-Entropy berechnet",
  lead: "Ein Modell gibt jeder Klasse eine Bewertung, ihr Logit. Eine Klasse ist die richtige, das Label. `sparse_softmax_cross_entropy_with_logits` macht daraus eine einzige Zahl, den Verlust (Loss): wie wenig Wahrscheinlichkeit das Modell dem Label gelassen hat. Hier ist jeder Schritt davon, mit Ihren Zahlen.",
  formulas: "Die Formel",
  loss: "Loss",
  language: "Sprache",
  theme: { title: "Farben", auto: "Auto", light: "Hell", dark: "Dunkel" },
  skip: "Zu den Zahlen springen",

  numbers: {
    heading: "Ihre Zahlen",
    text: "Logits",
    hint: "2 bis 20 Zahlen mit Dezimalpunkt, getrennt durch Kommas, Leerzeichen oder Zeilen; Klammern stören nicht. Bei Semikolons gilt das Dezimalkomma.",
    invalid: "Das sind nicht 2 bis 20 Zahlen zwischen −1 000 000 und 1 000 000; die Seite zeigt noch die vorigen.",
    label: "Label wählen, Logits bewegen",
    isLabel: (j) => `Klasse ${j} ist das Label`,
    logit: (j) => `Logit der Klasse ${j}`,
    add: "Klasse hinzufügen",
    remove: "Letzte entfernen",
    examples: "Beispiele",
    example: {
      readme: "Vier Klassen",
      equal: "Alle gleich",
      right: "Sicher und richtig",
      wrong: "Sicher und falsch",
      ten: "Eine Ziffer, 0 bis 9",
    },
    result: "Loss",
    probability: "Wahrscheinlichkeit des Labels",
    byKernel: "von xent berechnet, während Sie die Regler bewegen",
    curve: (p, loss) => `Der Loss als Funktion der Wahrscheinlichkeit des Labels; hier ${p}, mit dem Loss ${loss}`,
    curveAxis: "Wahrscheinlichkeit des Labels",
    copy: "Link zu diesen Zahlen kopieren",
    copied: "Kopiert",
    notCopied: "Bitte aus der Adresszeile kopieren",
  },

  steps: {
    heading: "Schritt für Schritt",
    step: (n) => `Schritt ${n}`,
    names: ["Logits", "Minus das größte", "Exponentiale", "Softmax", "Loss", "Gradient"],
    texts: [
      "Die Bewertungen, wie sie aus dem Modell kommen. Nur ihre Abstände voneinander zählen.",
      "Das größte wird von allen abgezogen. Am Ergebnis ändert das nichts, denn der Faktor kürzt sich in Schritt 4; aber nun kann keine Exponentialfunktion mehr über 1 hinaus.",
      "Alle werden positiv. Das größte ist genau 1, und eine Klasse, die um 7 tiefer liegt, hat etwa ein Tausendstel davon.",
      "Durch ihre Summe S geteilt sind es Wahrscheinlichkeiten: zusammen 1.",
      "Der negative Logarithmus der Wahrscheinlichkeit des Labels. Er wird ohne die Softmax berechnet, damit unterwegs nichts verschwinden kann:",
      "Wie sich der Loss mit jedem Logit ändert: die Softmax, beim Label um 1 vermindert. Das Training bewegt jedes Logit in die Gegenrichtung. Zusammen ergibt es 0.",
    ],
    bars: (name) => `${name} jeder Klasse`,
  },

  compare: {
    heading: "Naiv und stabil",
    text: "Im Lehrbuch heißt der Loss `-log(softmax(x)[y])`. In exakter Arithmetik ist das dasselbe. In `f32`, den Zahlen, aus denen neuronale Netze bestehen, ist es bei gewöhnlichen Zeilen auf weniger als 2e-6 dasselbe: Logits in [-8, 8], bis zu 100 Klassen. Und irgendwann nicht mehr. Bewegen Sie die Logits dorthin:",
    scale: "Maßstab: jedes Logit mal",
    offset: "Versatz: danach jedes Logit plus",
    examples: "Zu diesen Fällen",
    example: {
      ordinary: "Eine gewöhnliche Zeile",
      large: "Große Logits",
      low: "Sehr kleine Logits",
      confident: "Eine sichere Zeile",
      unlikely: "Ein unwahrscheinliches Label",
    },
    logits: "Die Logits sind jetzt",
    table: "Die Losses und ihre Fehler",
    columns: ["", "Loss", "Abweichung", "relativ"],
    rows: {
      naive: "Naiv",
      stable: "Stabil",
      xent: "xent",
      exact: "Exakt",
    },
    how: {
      naive: "-log(softmax(x)[y]) in f32",
      stable: "log S - (x[y] - m) in f32",
      xent: "der echte Kernel",
      exact: "aus denselben Logits, in f64",
    },
    verdict: {
      overflow: "Eine Exponentialfunktion liegt über 3.4e38, der größten f32-Zahl: ∞ / ∞ ist keine Zahl.",
      overflowOfOthers:
        "Eine Exponentialfunktion liegt über 3.4e38, der größten f32-Zahl. Geteilt durch ∞ ist die Wahrscheinlichkeit des Labels 0; -log(0) ist unendlich.",
      infinite:
        "Die Wahrscheinlichkeit des Labels ist 0 geworden, denn die kleinste f32-Zahl ist 1.4e-45; -log(0) ist unendlich.",
      vanished: "Alle Exponentiale sind 0 geworden: 0 / 0 ist keine Zahl.",
      zero: "Wahrscheinlichkeit auf 1 gerundet: Vom Loss bleibt nichts.",
      stableZero:
        "S auf 1 gerundet: Vom Loss bleibt nichts. TensorFlow, PyTorch, JAX und ONNX Runtime liefern diese 0.",
      far: "Um mehr als 2e-6 daneben.",
      digits: "Auf 2e-6 genau, aber der Loss selbst ist klein: Nur wenige seiner Stellen stimmen.",
      fine: "Auf 2e-6 genau.",
      tiny: "Der Loss liegt unter der kleinsten f32-Zahl; 0 ist also richtig.",
      exact: "Bis auf die letzten Stellen von f32 richtig.",
    },
    byOffset: (scale) => `Abweichung vom exakten Loss, nach Versatz (Maßstab ${scale})`,
    byScale: (offset) => `Relative Abweichung, nach Maßstab (Versatz ${offset})`,
    offsetAxis: "Versatz",
    scaleAxis: "Maßstab",
    notFinite: "∞ oder NaN",
    afterword:
      "Zuerst das größte abzuziehen, wie in Schritt 2, heilt die großen Logits und die unwahrscheinlichen Labels. Sichere Zeilen heilt es nicht: 1 + 1e-9 ist in `f32` gleich 1, und der Logarithmus davon 0. xent lässt den eigenen Term des Labels aus der Summe weg, Loss = log1p(Summe der anderen / Term des Labels), und erhält auch sie.",
  },

  options: {
    heading: "Was jede Option bewirkt",
    text: "Dieselbe Zeile mit einer Option von xent. Blass: ohne sie.",
    choose: "Option",
    value: {
      labelSmoothing: "e, auf alle Klassen verteilt",
      zLoss: "z",
      softcap: "c",
      temperature: "t",
      classWeights: "w, das Gewicht des Labels",
      ignoreIndex: "das Label, das nicht zählt",
    },
    formula: {
      labelSmoothing: "loss = (1 - e) · nll[y] + e / C · sum(nll)",
      zLoss: "loss + z · log(sum(exp(x)))²",
      softcap: "x = c · tanh(x / c)",
      temperature: "x = x / t",
      classWeights: "w[y] · loss",
      ignoreIndex: "y == ignoreIndex ? 0 : loss",
    },
    says: {
      labelSmoothing:
        "Ein Teil e des Ziels geht gleichmäßig an alle Klassen, wobei nll der Loss ist, den jede Klasse als Label hätte. Nun lohnt es sich nicht mehr, ein Logit endlos wachsen zu lassen.",
      zLoss:
        "Gibt einer großen Summe der Exponentiale einen Preis, damit die Logits nicht als Ganzes davontreiben. Die Softmax allein würde das nicht merken.",
      softcap:
        "Biegt die Logits zuerst, sodass keines den Bereich von -c bis c verlässt. Der Gradient eines gebogenen Logits ist klein.",
      temperature:
        "Teilt die Logits zuerst. Über 1 rücken die Wahrscheinlichkeiten zusammen, unter 1 nimmt sich die größte noch mehr.",
      classWeights:
        "Lässt eine Klasse mehr oder weniger zählen als andere, zum Beispiel eine seltene mehr. Hier haben die anderen das Gewicht 1.",
      ignoreIndex:
        "Eine Zeile mit diesem Label hat Loss 0 und Gradient 0 und zählt nicht im Mittelwert: Auffüllung (Padding) zum Beispiel.",
    },
    without: "ohne",
    with: "damit",
    gradient: "Gradient",
  },

  origin: {
    heading: "Wo das Original steht",
    text: "In TensorFlow geht `tf.nn.sparse_softmax_cross_entropy_with_logits` durch vier Stellen:",
    places: [
      "Die Python-Funktion. Sie vergleicht die Formen, macht aus jeder Stelle des Batches eine Zeile, wandelt `float16` in `float32` und ruft die Op auf. Nur wo `enable_op_determinism` aufgerufen wurde, nehmen neuere Versionen stattdessen `log_softmax_v2` und greifen mit `gather` den Eintrag des Labels heraus: derselbe Loss, ohne die drei anderen Stellen.",
      "Die Op, `SparseSoftmaxXentWithLogitsOp`. Auf der CPU weist `CheckInvalidLabelIndex` Labels zurück, die keine Klasse sind; auf der GPU werden ihre Zeilen NaN. Dann ruft sie `SparseXentFunctor` auf.",
      "Die Rechnung, in `SparseXentEigenImpl`. Zwei Felder dienen für alles: `scratch` mit einer Zahl je Zeile und `backprop` mit einer Zahl je Logit.",
      "Der Gradient, `_SparseSoftmaxCrossEntropyWithLogitsGrad`. Zu rechnen ist nichts mehr: Sie multipliziert die zweite Ausgabe der Op, `backprop`, mit dem Gradienten, der für jede Zeile hereinkommt.",
    ],
    table: "Die Schritte dieser Seite in SparseXentEigenImpl",
    columns: ["Schritt", "TensorFlow", "Was es tut"],
    steps: [
      { step: "2", code: "RowMaxReduction → scratch", says: "das größte Logit jeder Zeile" },
      { step: "2", code: "backprop = logits - scratch", says: "minus das größte" },
      {
        step: "3",
        code: "scratch = backprop.exp().sum(along_class)",
        says: "die Summe S; die Exponentiale werden noch nicht behalten",
      },
      {
        step: "5",
        code: "SparseXentLossGenerator → loss",
        says: "log(S) - (x[y] - m) beim Label, sonst 0, zusammengezählt: der Loss, ohne Softmax",
      },
      { step: "3", code: "backprop = backprop.exp()", says: "die Exponentiale, noch einmal" },
      {
        step: "4, 6",
        code: "SparseXentGradGenerator → backprop",
        says: "durch S geteilt, beim Label um 1 vermindert: der Gradient",
      },
    ],
    same: "So kommt der Gradient mit dem Loss, aus demselben Durchgang, auch wenn niemand nach ihm fragt. Und die Softmax wird nie gespeichert: Sie ist ein Teil von Schritt 6.",
    otherwise:
      "xent geht dieselben Schritte, bis auf zwei: den Loss einer sicheren Zeile (siehe oben) und den Gradienten beim Label. Der ist nicht p - 1, wovon bei einem p nahe 1 nichts übrig bliebe, sondern die Summe der anderen mit umgekehrtem Vorzeichen.",
  },
  footer: "Diese Seite ist eine einzige Datei. Sie rechnet alles selbst und fragt niemanden nach irgendetwas.",
};
