# SPDX-License-Identifier: Apache-2.0
"""A guest reaches the resources that it was granted, and no others."""

from harness import configuration, handling


def test_what_is_not_granted_is_denied(site):
    for name in "secret", "others":
        site.directory(name)
    weir = site.run(configuration(
        {"main-denied-resource": {"run": True, "grants": ["store"]}},
        resources=("store", "secret", "others")))
    assert weir.wait_exit() == 0
    answer = weir.printed("main-denied-resource")[0]
    assert answer.startswith("open: denied: ")
    assert "store" in answer, "it is told what it was granted"
    assert "others" not in answer, "what others may reach is not its business"


def test_a_grant_lets_it_in(site):
    site.directory("secret")
    weir = site.run(configuration(
        {"main-denied-resource": {"run": True, "grants": ["secret"]}},
        resources=("store", "secret")))
    assert weir.wait_exit() == 0
    assert weir.printed("main-denied-resource") == ["open: ok"]


def test_without_grants_nothing_is_given(site):
    weir = site.run(configuration({"main-exec-forever": {"run": True}}))
    assert weir.wait_exit() == 1
    assert weir.printed("main-exec-forever")[0].startswith("open: denied: ")


def test_without_grants_the_resources_of_its_own_subscriptions_are(site):
    weir = site.run(configuration({"main-exec-forever": {"run": True}},
                                  [{"key": "config/*", "guest": "main-exec-forever"}]))
    weir.wait_listening(2)
    site.put("own", "x")
    weir.wait_printed("main-exec-forever", "handle-event got own")
    assert weir.stop() == 0


def test_the_command_line_grants_what_it_names(site):
    site.directory("more")
    site.write_config(configuration({"main-denied-resource": {"run": True}}, resources=()))
    weir = site.start("run", "weir.yaml", "--resource", "secret=file:./more")
    assert weir.wait_exit() == 0
    assert weir.printed("main-denied-resource") == ["open: ok"]


def test_an_unknown_resource_is_not_found(site):
    weir = site.run_guest("main-unknown-resource")
    assert weir.wait_exit() == 0
    answer = weir.printed("main-unknown-resource")[0]
    assert answer.startswith("open: not-found: ")
    assert "nonesuch" in answer and "store" in answer


def test_a_grant_of_what_there_is_not_is_a_mistake(site):
    site.write_config(handling("print", grants=["store", "stroe"]))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert "stroe" in told and "store" in told


def test_a_guest_sees_nothing_of_the_system(site):
    weir = site.run(handling("obey"), env={"SECRET_OF_THE_HOST": "1"})
    weir.wait_listening()
    site.put("key", "look-around")
    weir.wait_printed("obey", "look-around: end")
    seen = dict(line.split(": ", 1) for line in weir.printed("obey") if ": " in line)
    assert seen["environment"] == "0"
    for path in "open /", "open /etc/passwd", "create x":
        assert seen[path] != "opened"
    assert seen["stdin"] == "0"
    assert (seen["realtime"], seen["monotonic"], seen["random"]) == ("ok", "ok", "ok")
