package loop

const relayMode = "SARNIC_LOOP_RELAY"

func relayMain(string) {}
