import type { Texts } from "./en.ts";

export const de: Texts = {
  title: "Was die Sparse-Softmax-Kreuzentropie berechnet",
  lead: "Ein Modell bewertet jede Klasse mit einer Zahl, ihrem Logit. Eine der Klassen ist die richtige, das Label. `sparse_softmax_cross_entropy_with_logits` berechnet aus den Logits eine einzige Zahl, den Loss (Verlust). Er ist umso größer, je weniger Wahrscheinlichkeit das Modell dem Label gibt. Diese Seite zeigt jeden Schritt mit Ihren Zahlen.",
  formulas: "Die Formel",
  loss: "Loss",
  language: "Sprache",
  theme: { title: "Farbschema", auto: "Auto", light: "Hell", dark: "Dunkel" },
  skip: "Zu den Zahlen springen",

  numbers: {
    heading: "Ihre Zahlen",
    text: "Logits",
    hint: "2 bis 20 Zahlen mit Dezimalpunkt, getrennt durch Kommas, Leerzeichen oder Zeilenumbrüche; Klammern sind erlaubt. Mit Semikolons getrennt dürfen sie ein Dezimalkomma haben.",
    invalid:
      "Das sind nicht 2 bis 20 Zahlen zwischen −1 000 000 und 1 000 000; die Seite zeigt weiterhin die vorherigen.",
    label: "Label wählen, Logits einstellen",
    isLabel: (j) => `Klasse ${j} ist das Label`,
    logit: (j) => `Logit der Klasse ${j}`,
    add: "Klasse hinzufügen",
    remove: "Letzte Klasse entfernen",
    examples: "Beispiele",
    example: {
      readme: "Vier Klassen",
      equal: "Alle gleich",
      right: "Sicher und richtig",
      wrong: "Sicher und falsch",
      ten: "Eine Ziffer von 0 bis 9",
    },
    result: "Loss",
    probability: "Wahrscheinlichkeit des Labels",
    byKernel: "von xent berechnet, während Sie die Regler bewegen",
    curve: (p, loss) =>
      `Der Loss als Funktion der Wahrscheinlichkeit des Labels; hier ist sie ${p} und der Loss ${loss}`,
    curveAxis: "Wahrscheinlichkeit des Labels",
    copy: "Link zu diesen Zahlen kopieren",
    copied: "Kopiert",
    notCopied: "Bitte aus der Adresszeile kopieren",
  },

  steps: {
    heading: "Schritt für Schritt",
    step: (n) => `Schritt ${n}`,
    names: ["Logits", "Differenz zum Maximum", "Exponentialwerte", "Softmax", "Loss", "Gradient"],
    texts: [
      "Die Bewertungen, wie das Modell sie ausgibt. Es kommt nur auf ihre Differenzen an.",
      "Von allen Logits wird das größte abgezogen. Das ändert kein Ergebnis, denn der Faktor kürzt sich in Schritt 4 heraus; aber nun ist kein Exponentialwert mehr größer als 1.",
      "Alle Werte werden positiv. Der größte ist genau 1; liegt ein Logit um 7 tiefer, beträgt sein Wert etwa ein Tausendstel davon.",
      "Durch ihre Summe S geteilt, werden sie zu Wahrscheinlichkeiten: Zusammen ergeben sie 1.",
      "Der negative Logarithmus der Wahrscheinlichkeit des Labels. Er wird ohne die Softmax-Werte berechnet, damit kein Zwischenergebnis zu 0 werden kann:",
      "Wie sich der Loss mit jedem Logit ändert: die Softmax, beim Label um 1 vermindert. Das Training verschiebt jedes Logit in die Gegenrichtung. Die Summe aller Einträge ist 0.",
    ],
    bars: (name) => `${name} je Klasse`,
  },

  compare: {
    heading: "Naiv und stabil",
    text: "Im Lehrbuch steht der Loss als `-log(softmax(x)[y])`. In exakter Arithmetik sind alle Formen gleich. In `f32`, den Zahlen, mit denen neuronale Netze rechnen, stimmen sie bei gewöhnlichen Zeilen bis auf 2e-6 überein: bei Logits in [-8, 8] und bis zu 100 Klassen. Außerhalb dieses Bereichs tun sie das nicht. Verschieben Sie die Logits dorthin:",
    scale: "Skalierung: jedes Logit mal",
    offset: "Verschiebung: danach jedes Logit plus",
    examples: "Beispiele",
    example: {
      ordinary: "Eine gewöhnliche Zeile",
      large: "Große Logits",
      low: "Stark negative Logits",
      confident: "Eine sichere Vorhersage",
      unlikely: "Ein unwahrscheinliches Label",
    },
    logits: "Die Logits sind jetzt",
    table: "Loss-Werte und ihre Fehler",
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
      overflow: "Überlauf: Ein Exponentialwert liegt über 3.4e38, der größten f32-Zahl; ∞ / ∞ ist keine Zahl.",
      overflowOfOthers:
        "Überlauf: Ein Exponentialwert liegt über 3.4e38, der größten f32-Zahl. Durch ∞ geteilt, wird die Wahrscheinlichkeit des Labels 0; -log(0) ist unendlich.",
      infinite:
        "Unterlauf: Die Wahrscheinlichkeit des Labels ist 0 geworden, denn die kleinste positive f32-Zahl ist 1.4e-45; -log(0) ist unendlich.",
      vanished: "Unterlauf: Alle Exponentialwerte sind 0 geworden; 0 / 0 ist keine Zahl.",
      zero: "Die Wahrscheinlichkeit wurde auf 1 gerundet: Vom Loss bleibt nichts übrig.",
      stableZero:
        "S wurde auf 1 gerundet: Vom Loss bleibt nichts übrig. TensorFlow, PyTorch, JAX und ONNX Runtime liefern diese 0.",
      far: "Um mehr als 2e-6 falsch.",
      digits: "Auf 2e-6 genau, aber der Loss selbst ist klein: Nur wenige seiner Ziffern stimmen.",
      fine: "Auf 2e-6 genau.",
      tiny: "Der Loss liegt unter der kleinsten positiven f32-Zahl; 0 ist also richtig.",
      exact: "Richtig bis in die letzten Stellen von f32.",
    },
    byOffset: (scale) => `Abweichung vom exakten Loss, nach Verschiebung (Skalierung ${scale})`,
    byScale: (offset) => `Relative Abweichung, nach Skalierung (Verschiebung ${offset})`,
    offsetAxis: "Verschiebung",
    scaleAxis: "Skalierung",
    notFinite: "∞ oder NaN",
    afterword:
      "Zuerst das Maximum abzuziehen, wie in Schritt 2, hilft bei großen Logits und unwahrscheinlichen Labels. Bei sicheren Vorhersagen hilft es nicht: 1 + 1e-9 ist in `f32` gleich 1, und der Logarithmus davon ist 0. xent lässt den Term des Labels aus der Summe weg, Loss = log1p(Summe der anderen Terme / Term des Labels); so stimmt der Loss auch hier.",
  },

  options: {
    heading: "Was jede Option bewirkt",
    text: "Dieselbe Zeile mit einer Option von xent. Blasse Balken: ohne sie.",
    choose: "Option",
    value: {
      labelSmoothing: "e, auf alle Klassen verteilt",
      zLoss: "z",
      softcap: "c",
      temperature: "t",
      classWeights: "w, das Gewicht des Labels",
      ignoreIndex: "das ignorierte Label",
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
        "Ein Anteil e der Zielverteilung wird gleichmäßig auf alle Klassen verteilt; nll ist der Loss, den jede Klasse als Label hätte. Nun lohnt es sich nicht mehr, ein Logit unbegrenzt wachsen zu lassen.",
      zLoss:
        "Bestraft eine große Summe der Exponentialwerte, damit nicht alle Logits gemeinsam abdriften. Die Softmax allein würde das nicht bemerken.",
      softcap:
        "Begrenzt zuerst die Logits, sodass keines den Bereich von -c bis c verlässt. Der Gradient eines begrenzten Logits ist klein.",
      temperature:
        "Teilt zuerst die Logits. Über 1 gleichen sich die Wahrscheinlichkeiten an, unter 1 wird die größte noch größer.",
      classWeights:
        "Gewichtet eine Klasse stärker oder schwächer als andere, eine seltene zum Beispiel stärker. Hier haben die anderen das Gewicht 1.",
      ignoreIndex:
        "Eine Zeile mit diesem Label, zum Beispiel Padding, hat den Loss 0 und den Gradienten 0 und zählt nicht für den Mittelwert.",
    },
    without: "ohne",
    with: "mit",
    gradient: "Gradient",
  },

  origin: {
    heading: "Wo das Original steht",
    text: "In TensorFlow durchläuft `tf.nn.sparse_softmax_cross_entropy_with_logits` vier Stationen:",
    places: [
      "Die Python-Funktion. Sie prüft die Shapes, macht aus jeder Position des Batches eine Zeile, wandelt `float16` in `float32` um und ruft die Op auf. Nur nach `enable_op_determinism` verwenden neuere Versionen stattdessen `log_softmax_v2` und wählen mit `gather` den Eintrag des Labels aus: derselbe Loss, ohne die drei anderen Stationen.",
      "Die Op, `SparseSoftmaxXentWithLogitsOp`. Auf der CPU weist `CheckInvalidLabelIndex` Labels zurück, die keine Klasse sind; auf der GPU werden ihre Zeilen NaN. Dann ruft die Op `SparseXentFunctor` auf.",
      "Die Berechnung, in `SparseXentEigenImpl`. Zwei Arrays genügen für alles: `scratch` mit einer Zahl je Zeile und `backprop` mit einer Zahl je Logit.",
      "Der Gradient, `_SparseSoftmaxCrossEntropyWithLogitsGrad`. Zu berechnen bleibt nichts: Nach der Kettenregel multipliziert die Funktion die zweite Ausgabe der Op, `backprop`, mit dem eingehenden Gradienten jeder Zeile.",
    ],
    table: "Die Schritte dieser Seite in SparseXentEigenImpl",
    columns: ["Schritt", "TensorFlow", "Was berechnet wird"],
    steps: [
      { step: "2", code: "RowMaxReduction → scratch", says: "das größte Logit jeder Zeile" },
      { step: "2", code: "backprop = logits - scratch", says: "das Maximum wird abgezogen" },
      {
        step: "3",
        code: "scratch = backprop.exp().sum(along_class)",
        says: "die Summe S; die Exponentialwerte werden noch nicht gespeichert",
      },
      {
        step: "5",
        code: "SparseXentLossGenerator → loss",
        says: "log(S) - (x[y] - m) beim Label, sonst 0, aufsummiert: der Loss, ohne Softmax",
      },
      { step: "3", code: "backprop = backprop.exp()", says: "die Exponentialwerte, noch einmal" },
      {
        step: "4, 6",
        code: "SparseXentGradGenerator → backprop",
        says: "durch S geteilt, beim Label um 1 vermindert: der Gradient",
      },
    ],
    same: "Der Gradient entsteht also im selben Durchgang wie der Loss, auch wenn er nicht verlangt wird. Die Softmax wird nie gespeichert: Sie ist Teil von Schritt 6.",
    otherwise:
      "xent berechnet zwei dieser Zahlen anders: den Loss einer sicheren Vorhersage und den Gradienten beim Label. Dieser Gradient ist die negative Summe der anderen und nicht p - 1, dessen Stellen bei p nahe 1 durch Auslöschung verloren gehen.",
  },
  footer: "Diese Seite ist eine einzige Datei. Sie berechnet alles selbst und fordert nichts aus dem Netz an.",
};
