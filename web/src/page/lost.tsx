import { Alert, Button, Container, Stack } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { Link, useRouteError } from "react-router";
import { Empty, Page } from "../component/page";
import { messageOf } from "../component/problem";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <Page title={t("common.notFound")}>
      <Empty title={t("common.notFound")} hint={t("common.notFoundHint")} action={<Button component={Link} to="/devices">{t("nav.devices")}</Button>} />
    </Page>
  );
}

/** Crashed is shown when a page throws, or its file is gone because the server was updated meanwhile. */
export function Crashed() {
  const { t } = useTranslation();
  const error = useRouteError();
  return (
    <Container size="sm" py="xl">
      <Alert color="red" role="alert" title={t("common.crashed")}>
        <Stack align="flex-start">
          <span className="breakable">{messageOf(error)}</span>
          <Button variant="default" onClick={() => location.reload()}>{t("common.reload")}</Button>
        </Stack>
      </Alert>
    </Container>
  );
}
