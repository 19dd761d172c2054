import { Alert, Button, Card, Center, Code, Group, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { isUnauthenticated } from "../api/error";
import { switchUser } from "../api/query";
import { ProblemAlert } from "../component/problem";

export function SignIn() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  useEffect(() => {
    document.title = `${t("signIn.title")}`;
  }, [t]);
  const login = useMutation({
    mutationFn: () => api.login(username.trim(), password),
    onSuccess: (me) => switchUser(client, me),
    onError: () => setPassword(""),
  });
  return (
    <Center component="main" mih="100vh" p="md">
      <Stack w="100%" maw={400} gap="lg">
        <Group gap="sm" justify="center">
          <img src="/favicon.svg" alt="" width={36} height={36} />
          <Title order={1} size="h2">{t("signIn.title")}</Title>
        </Group>
        <Card withBorder padding="lg">
          <form
            onSubmit={(e) => {
              e.preventDefault();
              login.mutate();
            }}
          >
            <Stack>
              {login.error && (isUnauthenticated(login.error) ? <Alert color="red" role="alert">{t("signIn.wrong")}</Alert> : <ProblemAlert error={login.error} />)}
              <TextInput label={t("signIn.username")} name="username" autoComplete="username" required withAsterisk={false} autoFocus value={username} onChange={(e) => setUsername(e.currentTarget.value)} />
              <PasswordInput label={t("signIn.password")} name="password" autoComplete="current-password" required withAsterisk={false} value={password} onChange={(e) => setPassword(e.currentTarget.value)} />
              <Button type="submit" loading={login.isPending}>{t("signIn.submit")}</Button>
            </Stack>
          </form>
        </Card>
        <Stack gap={4}>
          <Text size="sm" fw={600}>{t("signIn.firstTitle")}</Text>
          <Text size="sm" c="dimmed">{t("signIn.firstHint")}</Text>
          <Code block>muster-server admin reset-password</Code>
        </Stack>
      </Stack>
    </Center>
  );
}
