import { createTheme, type CSSVariablesResolver } from "@mantine/core";

export const theme = createTheme({
  primaryColor: "indigo",
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: "md",
  cursorType: "pointer",
  components: {
    // A dialog's title bar is a <header>, which outside a page's main part would be a second banner.
    Anchor: { defaultProps: { size: "sm" } },
    // A state is short and must be read whole.
    Badge: { defaultProps: { miw: "max-content" } },
    Fieldset: { styles: { legend: { fontSize: "var(--mantine-font-size-sm)", fontWeight: 600 } } },
    Modal: { defaultProps: { attributes: { header: { role: "presentation" } } }, styles: { title: { fontWeight: 600, overflowWrap: "anywhere" } } },
  },
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace",
});

/** The stock colours of secondary text and of pale badges miss the contrast that WCAG AA asks for. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": "var(--mantine-color-gray-7)",
    "--mantine-color-placeholder": "#6b7280",
    "--mantine-color-error": "var(--mantine-color-red-9)",
    "--mantine-color-indigo-light-hover": "var(--mantine-color-indigo-1)",
    "--mantine-color-teal-light-color": "#065f46",
    "--mantine-color-yellow-light-color": "#774400",
    "--mantine-color-orange-light-color": "#8a3208",
    "--mantine-color-red-light-color": "#a51111",
  },
  dark: {
    "--mantine-color-dimmed": "var(--mantine-color-dark-1)",
    "--mantine-color-placeholder": "var(--mantine-color-dark-2)",
    "--mantine-color-error": "var(--mantine-color-red-4)",
    "--mantine-color-yellow-light": "#3b2b0a",
  },
});
