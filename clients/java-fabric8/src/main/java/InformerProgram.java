import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import java.util.Set;

/** Watch one ConfigMap with an informer of the fabric8 client; what it reads and prints: CONTRACT.md. */
public final class InformerProgram {
    // Beside those of the HTTP client. Without retry and bookmarks: it does both in any case. Without watch-timeout: it
    // asks for 10 minutes and lets nobody change that.
    private static final Set<String> PROFILES = Set.of("default");

    public static void main(String[] arguments) throws Exception {
        Program program = new Program(arguments[0], PROFILES);
        KubernetesClient client = program.client();
        program.started();
        try {
            Program.trigger(client).inform(new ResourceEventHandler<ConfigMap>() {
                @Override
                public void onAdd(ConfigMap configMap) {
                    Program.observed(configMap);
                }

                @Override
                public void onUpdate(ConfigMap old, ConfigMap configMap) {
                    Program.observed(configMap);
                }

                @Override
                public void onDelete(ConfigMap configMap, boolean deletedFinalStateUnknown) {}
            });
        } catch (RuntimeException error) {
            error.printStackTrace();
            System.exit(1); // threads of the client's would go on
        }
        Thread.currentThread().join(); // the informer works in threads of its own
    }
}
