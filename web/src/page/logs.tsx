import { useTranslation } from "react-i18next";
import { Page } from "../component/page";
import { LogView } from "./log-view";

export default function Logs() {
  const { t } = useTranslation();
  return (
    <Page title={t("log.title")} subtitle={t("log.subtitle")}>
      <LogView />
    </Page>
  );
}
