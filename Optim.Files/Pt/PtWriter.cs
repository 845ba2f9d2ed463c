using System.Globalization;
using System.Text;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Writes what torch.load reads, with weights_only too: an archive with a pickle, and an entry for each storage.</summary>
internal static class PtWriter
{
    private const string Root = "archive";

    public static void Write(NewFile file, Tree tree)
    {
        var storages = new Storages(tree);
        var archive = new ZipWriter(file);
        archive.Add($"{Root}/data.pkl", new PickleWriter(storages).Write(tree));
        archive.Add($"{Root}/byteorder", Encoding.ASCII.GetBytes("little"));
        foreach (var ((bytes, _), i) in storages.All.Select((storage, i) => (storage, i)))
            archive.Add(string.Create(CultureInfo.InvariantCulture, $"{Root}/data/{i}"), bytes);
        archive.Add($"{Root}/version", Encoding.ASCII.GetBytes("3\n"));
        archive.Finish();
    }
}
