import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./locale/en.json";

export const languages = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof languages;

const REMEMBERED = "muster.language";

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

export function startI18n(): void {
  void i18next.use(initReactI18next).init({
    lng: "en",
    fallbackLng: "en",
    resources: { en: { translation: en } },
    // React renders every value as text already.
    interpolation: { escapeValue: false },
  });
  void setLanguage(preferred());
}

function preferred(): Language {
  const wanted = localStorage.getItem(REMEMBERED) ?? navigator.language;
  return wanted.startsWith("de") ? "de" : "en";
}

/** Other languages than English are loaded when they are first chosen. */
export async function setLanguage(language: Language): Promise<void> {
  if (language === "de" && !i18next.hasResourceBundle("de", "translation")) {
    const de = await import("./locale/de.json");
    i18next.addResourceBundle("de", "translation", de.default);
  }
  await i18next.changeLanguage(language);
  document.documentElement.lang = language;
}

export function rememberLanguage(language: Language): void {
  localStorage.setItem(REMEMBERED, language);
}
